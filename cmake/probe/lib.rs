//! Empty: that it compiles shows that there is a standard library for the target.
