/*
 * What every C test includes: cmocka with what it wants to have been included before, and the header under test.
 *
 * A test file is compiled as C11 and as C++17, so it keeps to what both know: results of malloc are cast,
 * initialisers name no fields, no variable-length arrays, no _Generic.
 */
#ifndef NXF_TEST_H
#define NXF_TEST_H

/* First, so that it is seen to need nothing before it. */
#include <noxu_feeder.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cmocka's header does not say so itself. */
#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#endif
