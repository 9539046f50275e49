/**
 * @file
 * noxu_feeder.h for C++17: the same functions, with owning types, exceptions, lambdas and std::chrono. Header only:
 * what runs is the C library, and nothing is promised here that C does not promise. noxu_feeder.h is the reference;
 * here stands what is different.
 *
 * @code{.cpp}
 * nxf::log log("/var/lib/noxu");
 * nxf::runner runner(nxf::channel::tcp_connect("replica-1.example", 5000), "replica-1", 1);
 * runner.on_ack([](std::string_view replica, std::uint64_t vlsn) { std::cout << replica << ": " << vlsn << "\n"; });
 * runner.start(nxf::scanner(log));
 * if (runner.wait_acked(1000, std::chrono::seconds(5)) == nxf::waited::timed_out)
 *     std::cout << "still at " << runner.known_replica_vlsn() << "\n";
 * runner.stop();
 * @endcode
 *
 * Names. nxf_runner_stop() is nxf::runner::stop(), and so on: what is known of one is found in the other. The
 * namespace is nxf and not noxu::feeder, because it is the prefix that C has, and noxu is for the database to use.
 *
 * Errors. What is an error in C, a negative status, is thrown as nxf::error: constructors have no other way, and then
 * one way is enough. What is none (nothing there yet, closed, not in time) is a value: an empty std::optional, an
 * enumerator.
 *
 * Ownership. Each type owns its handle and can be moved, not copied. One that was moved from holds nothing: it can be
 * destroyed and assigned to, and every other use is an nxf::error with NXF_E_INVALID_ARGUMENT. A function that takes
 * an rvalue (channel &&, scanner &&) takes over what it holds on success only.
 *
 * Callbacks are function objects of any type. They are moved to the heap once, when they are set, and destroyed once,
 * after their last call, on any thread. Where C lets the host's function fail (nxf::source, nxf::transport), an
 * exception is such a failure: it ends the run with NXF_E_CALLBACK, and error::cause() has it. Where C does not (ack,
 * end, event and log callbacks), there is nobody to receive it, and one that leaves the function is std::terminate(), as for
 * a std::thread.
 *
 * Threads. Member functions that are const may be called by any number of threads at once; others, by one at a time,
 * unless their comment says otherwise.
 *
 * Nothing here allocates but constructors, setters, errors, and what returns a std::string or fills a std::vector.
 * Works with -fno-rtti; needs exceptions.
 */
#ifndef NOXU_FEEDER_HPP
#define NOXU_FEEDER_HPP

#if __cplusplus < 201703L
// The only thing that an older compiler is to say.
#error "noxu_feeder.hpp needs C++17 (-std=c++17); in older C++, include noxu_feeder.h"
#else

#include <noxu_feeder.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/** noxu-feeder for C++. */
namespace nxf {

// --- Statuses, versions, errors --------------------------------------------------------------------------------------

/** nxf_status_name(): "NXF_OK", "NXF_E_LOG_GAP" ... */
inline std::string_view status_name(nxf_status status) noexcept
{
    return nxf_status_name(status);
}

/** nxf_version(): the version of the library that is loaded. */
inline std::string_view version() noexcept
{
    return nxf_version();
}

/** nxf_abi_version(). */
inline std::uint32_t abi_version() noexcept
{
    return nxf_abi_version();
}

/** What went wrong. what() has it in words, with every fact that is known. */
class error : public std::runtime_error {
public:
    /** Of a status, in these words. For functions of C that give no error object. */
    error(nxf_status status, const std::string &what) : std::runtime_error(what), status_(status) {}

    /** What an error object of C says; it stays the caller's. cause: see cause(). */
    explicit error(const nxf_error &from, std::exception_ptr cause = nullptr)
        : std::runtime_error(nxf_error_message(&from)), status_(nxf_error_status(&from)),
          replica_(*nxf_error_replica(&from) ? std::make_shared<const std::string>(nxf_error_replica(&from)) : nullptr),
          os_errno_(nxf_error_errno(&from)), is_retriable_(nxf_error_is_retriable(&from)),
          needs_restore_(nxf_error_needs_restore(&from)), cause_(std::move(cause))
    {
        if (std::uint32_t file = 0; nxf_error_file(&from, &file))
            file_ = file;
        if (std::uint64_t offset = 0; nxf_error_offset(&from, &offset))
            offset_ = offset;
        if (std::uint64_t vlsn = 0; nxf_error_vlsn(&from, &vlsn))
            vlsn_ = vlsn;
    }

    /** NXF_E_...; or NXF_CLOSED, of a constructor that found its channel closed. */
    nxf_status status() const noexcept { return status_; }
    /** The name of the replica concerned; empty if there is none. Valid as long as this error or a copy of it. */
    std::string_view replica() const noexcept { return replica_ ? std::string_view(*replica_) : std::string_view(); }
    /** The operating system's error number; 0 if it gave none. (errno is a macro.) */
    int os_errno() const noexcept { return os_errno_; }
    /** The number of the log file concerned. */
    std::optional<std::uint32_t> file() const noexcept { return file_; }
    /** The offset in that file, in bytes. */
    std::optional<std::uint64_t> offset() const noexcept { return offset_; }
    /** The VLSN concerned: missing, damaged, too large or acknowledged. */
    std::optional<std::uint64_t> vlsn() const noexcept { return vlsn_; }
    /** Whether the same thing tried again may succeed with nothing repaired. */
    bool is_retriable() const noexcept { return is_retriable_; }
    /** Whether the replica being fed can only be helped by a network restore. */
    bool needs_restore() const noexcept { return needs_restore_; }
    /** What the host's source or transport threw last, if the status is NXF_E_CALLBACK; else null. */
    const std::exception_ptr &cause() const noexcept { return cause_; }

private:
    nxf_status status_;
    std::shared_ptr<const std::string> replica_; // shared, because copies of an exception must not throw
    int os_errno_ = 0;
    std::optional<std::uint32_t> file_;
    std::optional<std::uint64_t> offset_;
    std::optional<std::uint64_t> vlsn_;
    bool is_retriable_ = false;
    bool needs_restore_ = false;
    std::exception_ptr cause_;
};

// --- Views and times -------------------------------------------------------------------------------------------------

/** Some elements in a row that somebody else owns: what std::span is in C++20. */
template <class T>
class view {
public:
    /** None. */
    constexpr view() noexcept = default;
    /** size elements from data on. */
    constexpr view(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    /** Those of an array. */
    template <std::size_t N>
    constexpr view(T (&array)[N]) noexcept : data_(array), size_(N)
    {
    }
    /** Those of whatever has data() and size(): a std::vector, std::array, std::span, another view. */
    template <class Container,
              class Element = std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))>,
              class = decltype(std::size(std::declval<Container &>())),
              class = std::enable_if_t<std::is_convertible_v<Element (*)[], T (*)[]> &&
                                       (std::is_lvalue_reference_v<Container> || std::is_const_v<T>) &&
                                       !std::is_array_v<std::remove_reference_t<Container>> &&
                                       !std::is_same_v<std::decay_t<Container>, view>>>
    constexpr view(Container &&container) noexcept : data_(std::data(container)), size_(std::size(container))
    {
    }

    /** The first one. */
    constexpr T *data() const noexcept { return data_; }
    /** How many. */
    constexpr std::size_t size() const noexcept { return size_; }
    /** Whether there is none. */
    constexpr bool empty() const noexcept { return size_ == 0; }
    /** The first one. */
    constexpr T *begin() const noexcept { return data_; }
    /** Behind the last one. */
    constexpr T *end() const noexcept { return data_ + size_; }
    /** The one at that place, which must be there. */
    constexpr T &operator[](std::size_t at) const noexcept { return data_[at]; }
    /** The first count of them, which must be there. */
    constexpr view first(std::size_t count) const noexcept { return view(data_, count); }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/** Bytes to be read. */
using bytes = view<const std::uint8_t>;
/** Bytes to be written to. */
using buffer = view<std::uint8_t>;

/** The bytes of a text. */
inline bytes as_bytes(std::string_view text) noexcept
{
    return bytes(reinterpret_cast<const std::uint8_t *>(text.data()), text.size());
}

/** The text that bytes are. */
inline std::string_view as_text(bytes text) noexcept
{
    return std::string_view(reinterpret_cast<const char *>(text.data()), text.size());
}

/** How long to wait: any duration of std::chrono, or nxf::forever. 0 and less: not at all. */
class timeout {
public:
    /** Whole milliseconds, rounded up; no more than 24 days, which is what C can count. */
    template <class Rep, class Period>
    constexpr timeout(std::chrono::duration<Rep, Period> duration) noexcept : milliseconds_(count(duration))
    {
    }
    /** As C counts: milliseconds, and anything negative for nxf::forever. */
    constexpr explicit timeout(int milliseconds) noexcept : milliseconds_(milliseconds < 0 ? -1 : milliseconds) {}

    /** As C counts: milliseconds, and -1 for nxf::forever. */
    constexpr int milliseconds() const noexcept { return milliseconds_; }
    /** Whether it is nxf::forever. */
    constexpr bool is_forever() const noexcept { return milliseconds_ < 0; }
    /** As a duration; of nxf::forever the longest there is. */
    constexpr std::chrono::milliseconds duration() const noexcept
    {
        return is_forever() ? std::chrono::milliseconds::max() : std::chrono::milliseconds(milliseconds_);
    }

private:
    template <class Rep, class Period>
    static constexpr int count(std::chrono::duration<Rep, Period> duration) noexcept
    {
        constexpr int most = std::numeric_limits<int>::max();
        // As a floating-point number first: nothing overflows there, and a NaN is not above 0.
        const double about = std::chrono::duration<double, std::milli>(duration).count();
        if (!(about > 0))
            return 0;
        if (about >= most)
            return most;
        return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
    }

    int milliseconds_;
};

/** To wait for as long as it takes. */
inline constexpr timeout forever{-1};

/** What stands between here and C: no part of the interface. */
namespace detail {

/** The last exception that an object of the host's threw into one of C's callbacks. */
class thrown {
public:
    void keep(std::exception_ptr what) noexcept
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        what_ = std::move(what);
    }

    std::exception_ptr get() const noexcept
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        return what_;
    }

private:
    mutable std::mutex mutex_;
    std::exception_ptr what_;
};

/** Of the source and the transport that a run consists of; null where they are the library's own. */
struct causes {
    std::shared_ptr<thrown> source;
    std::shared_ptr<thrown> transport;

    std::exception_ptr get() const noexcept
    {
        std::exception_ptr what;
        if (source)
            what = source->get();
        if (!what && transport)
            what = transport->get();
        return what;
    }
};

/** Looked at for no other error: others can be had while a run begins, and that is when causes are written. */
inline std::exception_ptr cause_of(nxf_status status, const causes *of) noexcept
{
    return status == NXF_E_CALLBACK && of ? of->get() : nullptr;
}

/** Throws what err says, and frees it. */
[[noreturn]] inline void fail(nxf_status status, nxf_error *err, std::exception_ptr cause = nullptr)
{
    const std::unique_ptr<nxf_error, void (*)(nxf_error *)> owned(err, nxf_error_free);
    if (!err)
        throw error(status, nxf_status_name(status));
    throw error(*err, std::move(cause));
}

/** Calls a function of C with the arguments and a place for the error, which is thrown. */
template <class... Parameters, class... Arguments>
nxf_status call(nxf_status (*function)(Parameters...), Arguments... arguments)
{
    nxf_error *err = nullptr;
    const nxf_status status = function(arguments..., &err);
    if (status < NXF_OK)
        fail(status, err);
    return status;
}

/** The same where an object of the host's may be the cause. */
template <class... Parameters, class... Arguments>
nxf_status call_for(const causes *causes, nxf_status (*function)(Parameters...), Arguments... arguments)
{
    nxf_error *err = nullptr;
    const nxf_status status = function(arguments..., &err);
    if (status < NXF_OK)
        fail(status, err, cause_of(status, causes));
    return status;
}

/** For functions that give no error object. */
inline void check(const char *function, nxf_status status)
{
    if (status < NXF_OK)
        throw error(status, std::string(function) + ": " + nxf_status_name(status));
}

/** A string as C wants it. One with a NUL inside would silently be another one there. */
class c_string {
public:
    c_string(std::string_view text, const char *parameter) : text_(text)
    {
        if (text.find('\0') != std::string_view::npos)
            throw error(NXF_E_INVALID_ARGUMENT, std::string("invalid argument `") + parameter + "`: holds a NUL");
    }

    const char *get() const noexcept { return text_.c_str(); }

private:
    std::string text_;
};

/** The text that a function of C writes to (char *buf, std::size_t capacity, std::size_t *len, nxf_error **err). */
template <class Write>
std::string text(Write write)
{
    std::string found(128, '\0');
    for (;;) {
        nxf_error *err = nullptr;
        std::size_t len = 0;
        const nxf_status status = write(found.data(), found.size(), &len, &err);
        if (status == NXF_E_BUFFER_TOO_SMALL)
            nxf_error_free(err);
        else if (status < NXF_OK)
            fail(status, err);
        found.resize(status == NXF_OK ? len : len + 1); // and a NUL
        if (status == NXF_OK)
            return found;
    }
}

/** Frees what a context of C's points to. */
template <class T>
void drop(void *context) noexcept
{
    delete static_cast<T *>(context);
}

inline void free_runner(nxf_runner *runner) noexcept
{
    // Refused inside its own callback: it would have to wait for itself. Going on would leave a run that nobody owns.
    if (nxf_runner_free(runner) != NXF_OK)
        std::terminate();
}

inline void free_server(nxf_server *server) noexcept
{
    // As for a runner.
    if (nxf_server_free(server) != NXF_OK)
        std::terminate();
}

} // namespace detail

/** Owns a handle of C. */
template <class T, void (*Free)(T *)>
class handle {
public:
    /** The handle, which stays this object's, for functions of C. Null after a move. */
    T *get() const noexcept { return owned_.get(); }
    /** The handle, which is the caller's from now on. */
    T *release() noexcept { return owned_.release(); }
    /** Whether there is one. */
    explicit operator bool() const noexcept { return owned_ != nullptr; }

protected:
    /** Takes a handle over; null: none. */
    explicit handle(T *owned) noexcept : owned_(owned) {}
    /** Takes over what the other one has. */
    handle(handle &&) noexcept = default;
    /** Takes over what the other one has, and frees what was here. */
    handle &operator=(handle &&) noexcept = default;
    /** Frees it. */
    ~handle() = default;
    /** Takes a handle over, where there is none. */
    void take(T *owned) noexcept { owned_.reset(owned); }

private:
    struct free {
        void operator()(T *owned) const noexcept { Free(owned); }
    };
    std::unique_ptr<T, free> owned_;
};

// --- Options ---------------------------------------------------------------------------------------------------------

/** How urgent a message for people is. */
enum class level : std::uint32_t {
    error = NXF_LEVEL_ERROR, /**< NXF_LEVEL_ERROR */
    warn = NXF_LEVEL_WARN,   /**< NXF_LEVEL_WARN */
    info = NXF_LEVEL_INFO,   /**< NXF_LEVEL_INFO */
    debug = NXF_LEVEL_DEBUG  /**< NXF_LEVEL_DEBUG */
};

/** NXF_OPTION_...: what an option takes. */
enum class option_kind : std::uint32_t {
    number = NXF_OPTION_NUMBER, /**< NXF_OPTION_NUMBER */
    word = NXF_OPTION_WORD      /**< NXF_OPTION_WORD */
};

/** nxf_option: what there is to know of an option. The texts are the library's, and valid as long as it is loaded. */
struct option {
    std::string_view key;           /**< Its key, as "log.settle_ms". */
    std::string_view meaning;       /**< What it does, for people. */
    std::string_view default_value; /**< The value when nothing is set. */
    std::string_view words;         /**< The words that it takes, as "error, accept"; empty for a number. */
    std::uint64_t min;              /**< The smallest number that it takes; 0 for a word. */
    std::uint64_t max;              /**< The largest number that it takes; 0 for a word. */
    option_kind kind;               /**< What it takes. */

    /** As C has it. */
    explicit option(const nxf_option &from) noexcept
        : key(from.key), meaning(from.meaning), default_value(from.default_value), words(from.words), min(from.min),
          max(from.max), kind(static_cast<option_kind>(from.kind))
    {
    }
};

/** nxf_options: keys and values. Copied by whatever is made with them. */
class options : public handle<nxf_options, nxf_options_free> {
public:
    /** All at their defaults. */
    options() : handle(make()) {}
    /** Takes over a handle of C; null stands for the defaults. */
    explicit options(nxf_options *owned) noexcept : handle(owned) {}

    /** The defaults, where no options are given. */
    static const options &defaults() noexcept
    {
        static const options none(nullptr);
        return none;
    }

    /**
     * nxf_options_set(): the option of this key. value: a text; a whole number; or a duration of std::chrono, for
     * keys that end in _ms, in whole milliseconds, rounded up. Returns these options: options().set(...).set(...).
     */
    template <class Value>
    options &set(std::string_view key, const Value &value) &
    {
        if constexpr (is_duration<Value>::value)
            set_text(key, std::to_string(std::chrono::ceil<std::chrono::milliseconds>(value).count()));
        else if constexpr (std::is_integral_v<Value> && !std::is_same_v<Value, bool> && !std::is_same_v<Value, char>)
            set_text(key, std::to_string(value));
        else
            set_text(key, value);
        return *this;
    }
    /** The same for options that have no name. */
    template <class Value>
    options &&set(std::string_view key, const Value &value) &&
    {
        return std::move(set(key, value));
    }

    /** The handle, for functions of C. */
    using handle::get;
    /** nxf_options_get(): the value of the option of this key, as it would be set. */
    std::string get(std::string_view key) const
    {
        const detail::c_string c_key(key, "key");
        return detail::text([&](char *buf, std::size_t capacity, std::size_t *len, nxf_error **err) {
            return nxf_options_get(handle::get(), c_key.get(), buf, capacity, len, err);
        });
    }

    /** nxf_options_describe(): every option there is, in the order of docs/options.md. */
    static std::vector<option> all()
    {
        std::vector<option> found;
        nxf_option one{};
        one.struct_size = sizeof one;
        while (detail::call(nxf_options_describe, found.size(), &one) == NXF_OK)
            found.push_back(option(one));
        return found;
    }

    /**
     * nxf_options_set_log_callback(): has everything of level most and more urgent handed to function(level,
     * std::string_view target, std::string_view message), on the threads that do the library's work, several at once
     * if several runners have it. An exception that leaves it is std::terminate().
     */
    template <class Function>
    options &on_log(level most, Function function) &
    {
        static_assert(std::is_invocable_v<Function &, level, std::string_view, std::string_view>,
                      "a log callback takes (nxf::level, std::string_view target, std::string_view message)");
        auto owned = std::make_unique<Function>(std::move(function));
        detail::call(nxf_options_set_log_callback, get(), static_cast<std::uint32_t>(most), &options::say<Function>,
                     static_cast<void *>(owned.get()), &detail::drop<Function>);
        static_cast<void>(owned.release());
        return *this;
    }
    /** The same for options that have no name. */
    template <class Function>
    options &&on_log(level most, Function function) &&
    {
        return std::move(on_log(most, std::move(function)));
    }
    /** Silence again. */
    options &on_log(std::nullptr_t) &
    {
        detail::call(nxf_options_set_log_callback, get(), static_cast<std::uint32_t>(NXF_LEVEL_ERROR),
                     nxf_log_callback(nullptr), static_cast<void *>(nullptr), nxf_drop_callback(nullptr));
        return *this;
    }

private:
    template <class T>
    struct is_duration : std::false_type {};
    template <class Rep, class Period>
    struct is_duration<std::chrono::duration<Rep, Period>> : std::true_type {};

    static nxf_options *make()
    {
        nxf_options *made = nullptr;
        detail::call(nxf_options_new, &made);
        return made;
    }

    void set_text(std::string_view key, std::string_view value)
    {
        const detail::c_string c_key(key, "key"), c_value(value, "value");
        detail::call(nxf_options_set, get(), c_key.get(), c_value.get());
    }

    template <class Function>
    static void say(void *context, std::uint32_t how, const char *target, const char *message) noexcept
    {
        Function &function = *static_cast<Function *>(context);
        function(static_cast<level>(how), std::string_view(target), std::string_view(message));
    }
};

// --- Logs ------------------------------------------------------------------------------------------------------------

/** Where a scanner starts for "at the first entry that the log has". */
inline constexpr std::uint64_t lsn_first = NXF_LSN_FIRST;
/** The send limit that is none. */
inline constexpr std::uint64_t no_send_limit = UINT64_MAX;

/** The VLSNs that a log holds. */
struct vlsns {
    std::uint64_t first; /**< The lowest one without a hole behind it. */
    std::uint64_t last;  /**< The highest one up to which it is complete. */
};

/** nxf_log: a log directory, opened once for any number of scanners and runners. */
class log : public handle<nxf_log, nxf_log_free> {
public:
    /** nxf_log_open(). Reads the options log.*. */
    explicit log(std::string_view env_dir, const options &options = options::defaults())
        : handle(open(env_dir, options))
    {
    }
    /** Takes over a handle of C. */
    explicit log(nxf_log *owned) noexcept : handle(owned) {}

    /** nxf_log_notify(): "I appended". Cheap, never blocks. */
    void notify() const { detail::check("nxf_log_notify", nxf_log_notify(get())); }
    /** nxf_log_set_send_limit(): only entries below this LSN are sent from now on. Cheap, never blocks. */
    void set_send_limit(std::uint64_t lsn) const
    {
        detail::check("nxf_log_set_send_limit", nxf_log_set_send_limit(get(), lsn));
    }
    /** nxf_log_vlsn_range(). Empty while the log has no replicated entry. */
    [[nodiscard]] std::optional<vlsns> vlsn_range() const
    {
        vlsns found{};
        if (detail::call(nxf_log_vlsn_range, get(), &found.first, &found.last) != NXF_OK)
            return std::nullopt;
        return found;
    }

private:
    static nxf_log *open(std::string_view env_dir, const options &options)
    {
        nxf_log *opened = nullptr;
        detail::call(nxf_log_open, detail::c_string(env_dir, "env_dir").get(), options.get(), &opened);
        return opened;
    }
};

// --- Scanners, and sources of the host's own -------------------------------------------------------------------------

/** nxf_entry: an entry of the log. */
struct entry {
    std::uint64_t vlsn = 0;      /**< Its VLSN, 1 or above. */
    std::uint64_t lsn = 0;       /**< Its position: the file number in the high 32 bits, the offset in the low 32. */
    bytes payload;               /**< Its payload, as it stands on disk; somebody else's. */
    std::uint8_t entry_type = 0; /**< Its type, as it stands on disk. */

    /** None in particular. */
    entry() noexcept = default;
    /** Of these parts. */
    entry(std::uint64_t its_vlsn, std::uint8_t its_type, bytes its_payload, std::uint64_t its_lsn = 0) noexcept
        : vlsn(its_vlsn), lsn(its_lsn), payload(its_payload), entry_type(its_type)
    {
    }
    /** As C has it. */
    explicit entry(const nxf_entry &from) noexcept
        : vlsn(from.vlsn), lsn(from.lsn), payload(from.payload, from.payload_len), entry_type(from.entry_type)
    {
    }
    /** As C has it. */
    explicit operator nxf_entry() const noexcept
    {
        nxf_entry to{};
        to.vlsn = vlsn;
        to.lsn = lsn;
        to.payload = payload.data();
        to.payload_len = payload.size();
        to.entry_type = entry_type;
        return to;
    }
};

/**
 * nxf_source_vtable: entries from elsewhere than a log. Its functions are called one at a time, on the thread that
 * drives the runner or calls scanner::next(), and must not wait. An exception from next() ends the run.
 */
class source {
public:
    /** Nothing. */
    source() = default;
    /** Not copied: the library has its address. */
    source(const source &) = delete;
    /** Not copied: the library has its address. */
    source &operator=(const source &) = delete;
    /** Called once, after all other calls, on any thread. */
    virtual ~source() = default;

    /**
     * The next entry whose VLSN is at least from_vlsn; 0: the lowest there is. Empty: none yet, and runner::notify()
     * will be called when there is. The payload must stay valid until release().
     */
    virtual std::optional<entry> next(std::uint64_t from_vlsn) = 0;
    /** The entry's payload is not used any more. Called once for every entry, before the next one is asked for. */
    virtual void release(const entry &used) noexcept { static_cast<void>(used); }
};

/** nxf_scanner: the replicated entries of a log in VLSN order. One thread at a time. */
class scanner : public handle<nxf_scanner, nxf_scanner_free> {
public:
    /** nxf_scanner_from_log(): over a log that is open already, which need not live as long. */
    explicit scanner(const log &from, std::uint64_t start_lsn = lsn_first) : handle(open(from, start_lsn)) {}
    /** nxf_scanner_open(): over the log in env_dir. Reads the options log.*. */
    explicit scanner(std::string_view env_dir, std::uint64_t start_lsn = lsn_first,
                     const options &options = options::defaults())
        : handle(open(env_dir, start_lsn, options))
    {
    }
    /**
     * nxf_scanner_from_callbacks(): over a source of the host's own, which is destroyed when this fails. Reads the
     * options source.*.
     */
    explicit scanner(std::unique_ptr<source> own, const options &options = options::defaults())
        : scanner(std::move(own), std::make_shared<detail::thrown>(), options)
    {
    }
    /** Takes over a handle of C. */
    explicit scanner(nxf_scanner *owned) noexcept : handle(owned) {}

    /**
     * nxf_scanner_next(): the next entry whose VLSN is at least from_vlsn. Its payload is valid until the next call.
     * Empty: nothing yet.
     */
    [[nodiscard]] std::optional<entry> next(std::uint64_t from_vlsn = 0)
    {
        nxf_entry found;
        if (detail::call_for(&causes_, nxf_scanner_next, get(), from_vlsn, &found) != NXF_OK)
            return std::nullopt;
        return entry(found);
    }

private:
    friend class runner;

    struct context {
        std::unique_ptr<source> own;
        std::shared_ptr<detail::thrown> thrown;
    };

    scanner(std::unique_ptr<source> own, std::shared_ptr<detail::thrown> thrown, const options &options)
        : handle(open(std::move(own), thrown, options)), causes_{std::move(thrown), nullptr}
    {
    }

    static nxf_scanner *open(const log &from, std::uint64_t start_lsn)
    {
        nxf_scanner *opened = nullptr;
        detail::call(nxf_scanner_from_log, from.get(), start_lsn, &opened);
        return opened;
    }

    static nxf_scanner *open(std::string_view env_dir, std::uint64_t start_lsn, const options &options)
    {
        nxf_scanner *opened = nullptr;
        detail::call(nxf_scanner_open, detail::c_string(env_dir, "env_dir").get(), start_lsn, options.get(), &opened);
        return opened;
    }

    static nxf_scanner *open(std::unique_ptr<source> own, std::shared_ptr<detail::thrown> thrown,
                             const options &options)
    {
        if (!own)
            throw error(NXF_E_INVALID_ARGUMENT, "invalid argument `own`: is null");
        nxf_source_vtable vtable{};
        vtable.struct_size = sizeof vtable;
        vtable.next = &scanner::next_of;
        vtable.release = &scanner::release_to;
        vtable.drop = &detail::drop<context>;
        nxf_scanner *opened = nullptr;
        std::unique_ptr<context> owned(new context{std::move(own), std::move(thrown)});
        detail::call(nxf_scanner_from_callbacks, &vtable, static_cast<void *>(owned.get()), options.get(), &opened);
        static_cast<void>(owned.release());
        return opened;
    }

    static nxf_status next_of(void *at, std::uint64_t from_vlsn, nxf_entry *to) noexcept
    {
        const context &self = *static_cast<context *>(at);
        try {
            const std::optional<entry> found = self.own->next(from_vlsn);
            if (!found)
                return NXF_AGAIN;
            *to = static_cast<nxf_entry>(*found);
            return NXF_OK;
        } catch (...) {
            self.thrown->keep(std::current_exception());
            return NXF_E_CALLBACK;
        }
    }

    static void release_to(void *at, const nxf_entry *used) noexcept
    {
        static_cast<context *>(at)->own->release(entry(*used));
    }

    detail::causes causes_;
};

// --- Channels, and transports of the host's own ----------------------------------------------------------------------

/** How sending or receiving went, if not with an error. */
enum class transfer {
    done,     /**< A message was sent or received, whole. */
    again,    /**< No room for it, or none came in time: nothing was sent or received. */
    closed,   /**< The channel is closed. */
    too_small /**< Receiving only: the message is larger than the buffer, and stays to be received. */
};

/** What receiving brought. */
struct received {
    transfer how = transfer::again; /**< How it went. */
    std::size_t len = 0;            /**< The length of the message: received, or too large. */

    /** Whether a message was received. */
    explicit operator bool() const noexcept { return how == transfer::done; }
};

/**
 * nxf_channel_vtable: another way than sockets to move whole messages. send() and receive() are called on two threads
 * of their own, at the same time as each other and as close() and is_open(), and may wait within their limits. An
 * exception from them ends the run.
 */
class transport {
public:
    /** Nothing. */
    transport() = default;
    /** Not copied: the library has its address. */
    transport(const transport &) = delete;
    /** Not copied: the library has its address. */
    transport &operator=(const transport &) = delete;
    /** Called once, after all other calls, on any thread. */
    virtual ~transport() = default;

    /** Sends a message whole; may wait while the peer does not read. Not transfer::too_small. */
    virtual transfer send(bytes message) = 0;
    /**
     * Receives a message into into, and returns its length; waits for one for at most limit. transfer::too_small with
     * the length needed: it is asked for again.
     */
    virtual received receive(buffer into, timeout limit) = 0;
    /**
     * Closes: send() and receive() that wait in other threads return, as soon as they can, with transfer::closed. May
     * be called more than once.
     */
    virtual void close() noexcept = 0;
    /**
     * Whether it is open; must not wait. True, unless it knows better: the library itself knows when it was closed
     * here.
     */
    virtual bool is_open() noexcept { return true; }
};

/**
 * nxf_channel: whole messages, to and from one peer. One thread may send while another receives, and any may close.
 */
class channel : public handle<nxf_channel, nxf_channel_free> {
public:
    /** nxf_channel_tcp_connect(). Reads the options channel.*. */
    [[nodiscard]] static channel tcp_connect(std::string_view host, std::uint16_t port,
                                             const options &options = options::defaults())
    {
        nxf_channel *made = nullptr;
        detail::call(nxf_channel_tcp_connect, detail::c_string(host, "host").get(), port, options.get(), &made);
        return channel(made);
    }
    /** nxf_channel_from_fd(): of a connected stream socket, which is the channel's on success. */
    [[nodiscard]] static channel from_fd(int fd, const options &options = options::defaults())
    {
        nxf_channel *made = nullptr;
        detail::call(nxf_channel_from_fd, fd, options.get(), &made);
        return channel(made);
    }
    /** nxf_channel_local_pair(): two that are connected with each other, in memory. */
    [[nodiscard]] static std::pair<channel, channel> local_pair(const options &options = options::defaults())
    {
        nxf_channel *one = nullptr, *other = nullptr;
        detail::call(nxf_channel_local_pair, options.get(), &one, &other);
        return std::pair<channel, channel>(channel(one), channel(other));
    }
    /** nxf_channel_from_callbacks(): over a transport of the host's own, which is destroyed when this fails. */
    explicit channel(std::unique_ptr<transport> own, const options &options = options::defaults())
        : channel(std::move(own), std::make_shared<detail::thrown>(), options)
    {
    }
    /** Takes over a handle of C. */
    explicit channel(nxf_channel *owned) noexcept : handle(owned) {}

    /** nxf_channel_send(): done, closed, or, of an in-memory pair, again. One thread at a time. */
    [[nodiscard]] transfer send(bytes message)
    {
        return how(detail::call_for(&causes_, nxf_channel_send, get(), message.data(), message.size()));
    }
    /** nxf_channel_receive(): into into. One thread at a time. */
    [[nodiscard]] received receive(buffer into, timeout limit = forever)
    {
        nxf_error *err = nullptr;
        std::size_t len = 0;
        const nxf_status status =
            nxf_channel_receive(get(), into.data(), into.size(), &len, limit.milliseconds(), &err);
        if (status == NXF_E_BUFFER_TOO_SMALL)
            nxf_error_free(err);
        else if (status < NXF_OK)
            detail::fail(status, err, detail::cause_of(status, &causes_));
        return received{how(status), len};
    }
    /**
     * nxf_channel_receive(), into a vector that is made as long as the message, and is empty unless done. Not
     * transfer::too_small. Allocates when a message is larger than any before it.
     */
    [[nodiscard]] transfer receive(std::vector<std::uint8_t> &message, timeout limit = forever)
    {
        if (message.size() < 4096)
            message.resize(4096);
        received got = receive(buffer(message), limit);
        // The message is there: it need not be waited for again.
        while (got.how == transfer::too_small) {
            message.resize(got.len);
            got = receive(buffer(message), limit);
        }
        message.resize(got ? got.len : 0);
        return got.how;
    }
    /** nxf_channel_close(). Any thread, also while others send and receive. */
    void close() { detail::call(nxf_channel_close, get()); }
    /** nxf_channel_is_open(). */
    bool is_open() const noexcept { return nxf_channel_is_open(get()); }

private:
    friend class runner;

    struct context {
        std::unique_ptr<transport> own;
        std::shared_ptr<detail::thrown> thrown;
    };

    channel(std::unique_ptr<transport> own, std::shared_ptr<detail::thrown> thrown, const options &options)
        : handle(make(std::move(own), thrown, options)), causes_{nullptr, std::move(thrown)}
    {
    }

    static nxf_channel *make(std::unique_ptr<transport> own, std::shared_ptr<detail::thrown> thrown,
                             const options &options)
    {
        if (!own)
            throw error(NXF_E_INVALID_ARGUMENT, "invalid argument `own`: is null");
        nxf_channel_vtable vtable{};
        vtable.struct_size = sizeof vtable;
        vtable.send = &channel::send_over;
        vtable.receive = &channel::receive_from;
        vtable.close = &channel::close_it;
        vtable.is_open = &channel::ask_is_open;
        vtable.drop = &detail::drop<context>;
        nxf_channel *made = nullptr;
        std::unique_ptr<context> owned(new context{std::move(own), std::move(thrown)});
        detail::call(nxf_channel_from_callbacks, &vtable, static_cast<void *>(owned.get()), options.get(), &made);
        static_cast<void>(owned.release());
        return made;
    }

    static transfer how(nxf_status status) noexcept
    {
        switch (status) {
        case NXF_OK:
            return transfer::done;
        case NXF_CLOSED:
            return transfer::closed;
        case NXF_E_BUFFER_TOO_SMALL:
            return transfer::too_small;
        default:
            return transfer::again;
        }
    }

    static nxf_status status_of(transfer how) noexcept
    {
        switch (how) {
        case transfer::done:
            return NXF_OK;
        case transfer::again:
            return NXF_AGAIN;
        case transfer::closed:
            return NXF_CLOSED;
        case transfer::too_small:
            return NXF_E_BUFFER_TOO_SMALL;
        }
        return NXF_E_CALLBACK;
    }

    static nxf_status send_over(void *at, const std::uint8_t *message, std::size_t len) noexcept
    {
        const context &self = *static_cast<context *>(at);
        try {
            return status_of(self.own->send(bytes(message, len)));
        } catch (...) {
            self.thrown->keep(std::current_exception());
            return NXF_E_CALLBACK;
        }
    }

    static nxf_status receive_from(void *at, std::uint8_t *into, std::size_t capacity, std::size_t *len,
                                   int timeout_ms) noexcept
    {
        const context &self = *static_cast<context *>(at);
        try {
            const received got = self.own->receive(buffer(into, capacity), timeout(timeout_ms));
            *len = got.len;
            return status_of(got.how);
        } catch (...) {
            self.thrown->keep(std::current_exception());
            return NXF_E_CALLBACK;
        }
    }

    static void close_it(void *at) noexcept { static_cast<context *>(at)->own->close(); }
    static bool ask_is_open(void *at) noexcept { return static_cast<context *>(at)->own->is_open(); }

    detail::causes causes_;
};

// --- Runners ---------------------------------------------------------------------------------------------------------

/** nxf_ack: an acknowledgement, or several merged into one because nobody took them in time. */
using ack = nxf_ack;

/** NXF_RUN_...: where a run is. */
enum class run_state : std::uint32_t {
    not_started = NXF_RUN_NEW,                     /**< NXF_RUN_NEW */
    running = NXF_RUN_RUNNING,                     /**< NXF_RUN_RUNNING */
    stopped = NXF_RUN_STOPPED,                     /**< NXF_RUN_STOPPED */
    closed_by_replica = NXF_RUN_CLOSED_BY_REPLICA, /**< NXF_RUN_CLOSED_BY_REPLICA */
    reset_by_replica = NXF_RUN_RESET_BY_REPLICA,   /**< NXF_RUN_RESET_BY_REPLICA */
    failed = NXF_RUN_FAILED                        /**< NXF_RUN_FAILED */
};

/** NXF_LOG_...: why there is nothing to read. */
enum class log_state : std::uint32_t {
    reading = NXF_LOG_READING,                       /**< NXF_LOG_READING */
    at_end = NXF_LOG_AT_END,                         /**< NXF_LOG_AT_END */
    no_file = NXF_LOG_NO_FILE,                       /**< NXF_LOG_NO_FILE */
    unfinished_header = NXF_LOG_UNFINISHED_HEADER,   /**< NXF_LOG_UNFINISHED_HEADER */
    hole = NXF_LOG_HOLE,                             /**< NXF_LOG_HOLE */
    torn = NXF_LOG_TORN,                             /**< NXF_LOG_TORN */
    unreadable = NXF_LOG_UNREADABLE,                 /**< NXF_LOG_UNREADABLE */
    next_file_empty = NXF_LOG_NEXT_FILE_EMPTY,       /**< NXF_LOG_NEXT_FILE_EMPTY */
    last_entry_missing = NXF_LOG_LAST_ENTRY_MISSING, /**< NXF_LOG_LAST_ENTRY_MISSING */
    send_limit = NXF_LOG_SEND_LIMIT,                 /**< NXF_LOG_SEND_LIMIT */
    ahead = NXF_LOG_AHEAD                            /**< NXF_LOG_AHEAD */
};

/** nxf_run_state_name(): "NXF_RUN_STOPPED" ... */
inline std::string_view run_state_name(run_state state) noexcept
{
    return nxf_run_state_name(static_cast<std::uint32_t>(state));
}

/** nxf_log_state_name(): "NXF_LOG_AT_END" ... */
inline std::string_view log_state_name(log_state state) noexcept
{
    return nxf_log_state_name(static_cast<std::uint32_t>(state));
}

/** nxf_runner_stats_t, with its numbers that mean something else as what they mean. */
struct runner_stats : nxf_runner_stats_t {
    /** All zeros. */
    runner_stats() noexcept : nxf_runner_stats_t() { struct_size = sizeof(nxf_runner_stats_t); }
    /** As C has it, as far as it has it: its struct_size says that. */
    explicit runner_stats(const nxf_runner_stats_t &from) noexcept : runner_stats()
    {
        const std::size_t has = from.struct_size < struct_size ? from.struct_size : struct_size;
        std::memcpy(static_cast<nxf_runner_stats_t *>(this), &from, has);
        struct_size = sizeof(nxf_runner_stats_t);
    }

    /** run_state. */
    enum run_state run() const noexcept { return static_cast<enum run_state>(nxf_runner_stats_t::run_state); }
    /** log_state. */
    enum log_state log() const noexcept { return static_cast<enum log_state>(nxf_runner_stats_t::log_state); }
    /** oldest_unacked_ms. */
    std::chrono::milliseconds oldest_unacked() const noexcept
    {
        return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(oldest_unacked_ms));
    }
    /** last_ack_ms. */
    std::chrono::milliseconds last_ack() const noexcept
    {
        return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(last_ack_ms));
    }
    /** callback_longest_ns. */
    std::chrono::nanoseconds callback_longest() const noexcept
    {
        return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(callback_longest_ns));
    }
};

/** How waiting for an acknowledgement ended, if not with an error. */
enum class waited {
    acked,     /**< The replica has acknowledged it. */
    timed_out, /**< Not in time. */
    closed     /**< The run was closed before. */
};

/**
 * nxf_runner: feeds one replica. Its destructor ends the run and waits for that; inside a callback of this runner,
 * where it would wait for itself, it is std::terminate(), as the destructor of a std::thread that runs.
 */
class runner : public handle<nxf_runner, detail::free_runner> {
public:
    /**
     * nxf_runner_new(): will feed the replica of this name over over, from start_vlsn on; 0: from the lowest VLSN
     * that the source holds without a hole. Takes the channel over on success only. Reads the options runner.* and
     * ack.*. A channel that is closed is an error with the status NXF_CLOSED.
     */
    runner(channel &&over, std::string_view replica_name, std::uint64_t start_vlsn,
           const options &options = options::defaults())
        : handle(nullptr), causes_(std::make_shared<detail::causes>())
    {
        causes_->transport = over.causes_.transport;
        nxf_runner *made = nullptr;
        const nxf_status status = detail::call_for(causes_.get(), nxf_runner_new, over.get(),
                                                   detail::c_string(replica_name, "replica_name").get(), start_vlsn,
                                                   options.get(), &made);
        if (status != NXF_OK)
            throw error(status, std::string("nxf_runner_new: ") + nxf_status_name(status));
        static_cast<void>(over.release());
        take(made);
    }
    /** Takes over a handle of C. */
    explicit runner(nxf_runner *owned) : handle(owned), causes_(std::make_shared<detail::causes>()) {}

    /**
     * nxf_runner_set_ack_callback(): has every acknowledgement handed to function(std::string_view replica_name,
     * std::uint64_t vlsn), or to function(std::uint64_t vlsn), on the runner's thread. Before the start only. An
     * exception that leaves it is std::terminate(). Returns this runner.
     */
    template <class Function>
    runner &on_ack(Function function)
    {
        static_assert(std::is_invocable_v<Function &, std::string_view, std::uint64_t> ||
                          std::is_invocable_v<Function &, std::uint64_t>,
                      "an ack callback takes (std::string_view replica_name, std::uint64_t vlsn), or the VLSN alone");
        auto owned = std::make_unique<Function>(std::move(function));
        detail::call(nxf_runner_set_ack_callback, get(), &runner::acked<Function>, static_cast<void *>(owned.get()),
                     &detail::drop<Function>);
        static_cast<void>(owned.release());
        return *this;
    }
    /**
     * nxf_runner_set_end_callback(): has function(std::string_view replica_name, nxf::run_state how, const nxf::error
     * *why), or one without how, called when the run has ended, as the last callback, on the runner's thread. how: by
     * whom. why: null if it ended in order; valid during the call. Before the start only. An exception that leaves it
     * is std::terminate(). Returns this runner.
     */
    template <class Function>
    runner &on_end(Function function)
    {
        static_assert(std::is_invocable_v<Function &, std::string_view, run_state, const error *> ||
                          std::is_invocable_v<Function &, std::string_view, const error *>,
                      "an end callback takes (std::string_view replica_name, nxf::run_state how, "
                      "const nxf::error *why), or the same without how");
        using context = end_context<Function>;
        std::unique_ptr<context> owned(new context{std::move(function), causes_, get()});
        detail::call(nxf_runner_set_end_callback, get(), &runner::ended<Function>, static_cast<void *>(owned.get()),
                     &detail::drop<context>);
        static_cast<void>(owned.release());
        return *this;
    }

    /** nxf_runner_start(): on a thread of its own. Takes the scanner over on success only. */
    void start(scanner &&from)
    {
        source_of_run source(*this, from);
        detail::call_for(causes_.get(), nxf_runner_start, get(), from.get());
        source.keep();
        static_cast<void>(from.release());
    }
    /**
     * nxf_runner_run(): on this thread, until the run ends in order; else throws what it ended with. Takes the
     * scanner over unless it throws an error with NXF_E_INVALID_ARGUMENT, NXF_E_WRONG_STATE or NXF_E_FORKED.
     */
    void run(scanner &&from)
    {
        source_of_run source(*this, from);
        // The runner may be destroyed by another thread as soon as the run has ended.
        const std::shared_ptr<detail::causes> causes = causes_;
        nxf_error *err = nullptr;
        const nxf_status status = nxf_runner_run(get(), from.get(), &err);
        if (status != NXF_E_INVALID_ARGUMENT && status != NXF_E_WRONG_STATE && status != NXF_E_FORKED) {
            source.keep();
            static_cast<void>(from.release());
        }
        if (status < NXF_OK)
            detail::fail(status, err, detail::cause_of(status, causes.get()));
    }

    /**
     * nxf_runner_poll_acks(): takes as many acknowledgements as into has room for, in the order received, and returns
     * them, in into. Waits for the first. None: none came in time. Empty: the run has ended, and all were taken. So
     * this takes them all: while (auto acks = runner.poll_acks(array)) for (const nxf::ack &ack : *acks) ...
     */
    [[nodiscard]] std::optional<view<ack>> poll_acks(view<ack> into, timeout limit = forever) const
    {
        std::size_t count = 0;
        const nxf_status status = detail::call(nxf_runner_poll_acks, get(), into.data(), into.size(),
                                               limit.milliseconds(), &count);
        if (status == NXF_CLOSED)
            return std::nullopt;
        return into.first(count);
    }
    /** nxf_runner_event_fd(): readable while acknowledgements wait, or the run has ended. The runner's own. */
    int event_fd() const
    {
        int fd = -1;
        detail::call(nxf_runner_event_fd, get(), &fd);
        return fd;
    }
    /** nxf_runner_wait_acked(): until the replica has acknowledged vlsn or more. Throws what the run ended with. */
    waited wait_acked(std::uint64_t vlsn, timeout limit = forever) const
    {
        switch (detail::call_for(causes_.get(), nxf_runner_wait_acked, get(), vlsn, limit.milliseconds())) {
        case NXF_OK:
            return waited::acked;
        case NXF_TIMEOUT:
            return waited::timed_out;
        default:
            return waited::closed;
        }
    }
    /** nxf_runner_notify(): "there is more". Cheap, never blocks. */
    void notify() const { detail::check("nxf_runner_notify", nxf_runner_notify(get())); }
    /** nxf_runner_known_replica_vlsn(): the highest VLSN acknowledged; 0 before the first. */
    std::uint64_t known_replica_vlsn() const noexcept { return nxf_runner_known_replica_vlsn(get()); }
    /** nxf_runner_state(): what the run is doing, or how it ended. */
    run_state state() const noexcept { return static_cast<run_state>(nxf_runner_state(get())); }
    /** nxf_runner_replica_name(). Valid as long as the runner. */
    std::string_view replica_name() const noexcept { return nxf_runner_replica_name(get()); }
    /** nxf_runner_set_user_pointer(): keeps a pointer for the host, and does nothing with it. */
    void set_user_pointer(void *user) const
    {
        detail::check("nxf_runner_set_user_pointer", nxf_runner_set_user_pointer(get(), user));
    }
    /** nxf_runner_user_pointer(): the one kept last; null at first. */
    void *user_pointer() const noexcept { return nxf_runner_user_pointer(get()); }
    /** nxf_runner_stats(). */
    runner_stats stats() const
    {
        runner_stats now;
        detail::call(nxf_runner_stats, get(), static_cast<nxf_runner_stats_t *>(&now));
        return now;
    }
    /**
     * nxf_runner_stop(): ends the run, and waits for that. True: it has ended, no callback runs any more, and none
     * starts. False: it is still ending. With 0 it only begins it, which is allowed inside a callback.
     */
    bool stop(timeout limit = forever) const
    {
        return detail::call(nxf_runner_stop, get(), limit.milliseconds()) == NXF_OK;
    }
    /**
     * nxf_runner_stop_all(): ends many runs at once, which takes as long as the slowest of them: to be called before they
     * are destroyed one after the other. True: all have ended. Those that were moved from are passed over.
     */
    static bool stop_all(view<const runner> runners, timeout limit = forever)
    {
        std::vector<nxf_runner *> as_c;
        as_c.reserve(runners.size());
        for (const runner &one : runners)
            as_c.push_back(one.get());
        return stop_all(view<nxf_runner *const>(as_c), limit);
    }
    /** The same of handles, for runners that do not stand in a row; null ones are passed over. */
    static bool stop_all(view<nxf_runner *const> runners, timeout limit = forever)
    {
        return detail::call(nxf_runner_stop_all, runners.data(), runners.size(), limit.milliseconds()) == NXF_OK;
    }
    /** nxf_runner_result(): true: the run has ended in order; false: it has not ended. Throws what it ended with. */
    [[nodiscard]] bool result() const { return detail::call_for(causes_.get(), nxf_runner_result, get()) == NXF_OK; }
    /**
     * nxf_runner_free(): what the destructor does, except that it throws an error with NXF_E_INSIDE_CALLBACK, and
     * keeps the runner, inside one of its callbacks.
     */
    void reset()
    {
        detail::check("nxf_runner_free", nxf_runner_free(get()));
        static_cast<void>(release());
    }

private:
    template <class Function>
    struct end_context {
        Function function;
        std::shared_ptr<detail::causes> causes;
        const nxf_runner *runner;

        void call(const char *replica_name, const error *why)
        {
            if constexpr (std::is_invocable_v<Function &, std::string_view, run_state, const error *>)
                function(std::string_view(replica_name), static_cast<run_state>(nxf_runner_state(runner)), why);
            else
                function(std::string_view(replica_name), why);
        }
    };

    /** Notes whose exceptions may be the cause of the run's end, before it begins; for good only if it does begin. */
    class source_of_run {
    public:
        source_of_run(const runner &runner, const scanner &from) : causes_(runner.causes_)
        {
            // Null after a move; and a run that goes on keeps what it has.
            if (causes_ && !causes_->source)
                causes_->source = from.causes_.source;
            else
                causes_ = nullptr;
        }
        source_of_run(const source_of_run &) = delete;
        source_of_run &operator=(const source_of_run &) = delete;
        ~source_of_run()
        {
            if (causes_)
                causes_->source = nullptr;
        }
        void keep() noexcept { causes_ = nullptr; }

    private:
        std::shared_ptr<detail::causes> causes_;
    };

    template <class Function>
    static void acked(void *context, const char *replica_name, std::uint64_t vlsn) noexcept
    {
        Function &function = *static_cast<Function *>(context);
        if constexpr (std::is_invocable_v<Function &, std::string_view, std::uint64_t>)
            function(std::string_view(replica_name), vlsn);
        else {
            static_cast<void>(replica_name);
            function(vlsn);
        }
    }

    template <class Function>
    static void ended(void *at, const char *replica_name, nxf_status how, const nxf_error *why) noexcept
    {
        auto &self = *static_cast<end_context<Function> *>(at);
        if (!why) {
            self.call(replica_name, nullptr);
            return;
        }
        const error told(*why, detail::cause_of(how, self.causes.get()));
        self.call(replica_name, &told);
    }

    std::shared_ptr<detail::causes> causes_;
};

// --- Servers ---------------------------------------------------------------------------------------------------------

/** NXF_SERVICE_...: what a connection to a server is for. */
enum class service : std::uint32_t {
    unknown = NXF_SERVICE_UNKNOWN,         /**< NXF_SERVICE_UNKNOWN */
    stream = NXF_SERVICE_STREAM,           /**< NXF_SERVICE_STREAM */
    syncup = NXF_SERVICE_SYNCUP,           /**< NXF_SERVICE_SYNCUP */
    restore = NXF_SERVICE_RESTORE,         /**< NXF_SERVICE_RESTORE */
    raw_restore = NXF_SERVICE_RAW_RESTORE, /**< NXF_SERVICE_RAW_RESTORE */
    election = NXF_SERVICE_ELECTION        /**< NXF_SERVICE_ELECTION */
};

/** NXF_EVENT_...: what has happened. There may be others in time. */
enum class event_kind : std::uint32_t {
    joined = NXF_EVENT_JOINED,               /**< NXF_EVENT_JOINED */
    acked = NXF_EVENT_ACKED,                 /**< NXF_EVENT_ACKED */
    caught_up = NXF_EVENT_CAUGHT_UP,         /**< NXF_EVENT_CAUGHT_UP */
    fell_behind = NXF_EVENT_FELL_BEHIND,     /**< NXF_EVENT_FELL_BEHIND */
    stalled = NXF_EVENT_STALLED,             /**< NXF_EVENT_STALLED */
    needs_restore = NXF_EVENT_NEEDS_RESTORE, /**< NXF_EVENT_NEEDS_RESTORE */
    restoring = NXF_EVENT_RESTORING,         /**< NXF_EVENT_RESTORING */
    restored = NXF_EVENT_RESTORED,           /**< NXF_EVENT_RESTORED */
    refused = NXF_EVENT_REFUSED,             /**< NXF_EVENT_REFUSED */
    ended = NXF_EVENT_ENDED,                 /**< NXF_EVENT_ENDED */
    log_broken = NXF_EVENT_LOG_BROKEN,       /**< NXF_EVENT_LOG_BROKEN */
    lost = NXF_EVENT_LOST,                   /**< NXF_EVENT_LOST */
    goes_on = NXF_EVENT_GOES_ON              /**< NXF_EVENT_GOES_ON */
};

/** nxf_service_name(): "NXF_SERVICE_STREAM" ... */
inline std::string_view service_name(service of) noexcept
{
    return nxf_service_name(static_cast<std::uint32_t>(of));
}

/** nxf_event_kind_name(): "NXF_EVENT_JOINED" ... */
inline std::string_view event_kind_name(event_kind of) noexcept
{
    return nxf_event_kind_name(static_cast<std::uint32_t>(of));
}

/** nxf_peer: who has connected, and has to be named. Valid during the call that it is given to. */
struct peer {
    std::string_view address;   /**< Address and port, as "192.0.2.1:1000"; "local" for a Unix domain socket. */
    std::string_view host;      /**< The address alone; empty for a Unix domain socket. */
    std::uint16_t port;         /**< The port; 0 for a Unix domain socket. */
    enum service service;       /**< What it wants. */

    /** As C has it. */
    explicit peer(const nxf_peer &from) noexcept
        : address(from.peer), host(from.host), port(from.port), service(static_cast<enum service>(from.service))
    {
    }
};

/** nxf_event: something that has happened. What it returns is valid as long as it. */
class event : public handle<nxf_event, nxf_event_free> {
public:
    /** Takes over an event of C; null stands for none. */
    explicit event(nxf_event *owned) noexcept : handle(owned) {}

    /** What. */
    event_kind kind() const noexcept { return static_cast<event_kind>(get()->kind); }
    /** What the connection is for. */
    nxf::service service() const noexcept { return static_cast<nxf::service>(get()->service); }
    /** The number of the connection; 0 if there is none. */
    std::uint64_t connection_id() const noexcept { return get()->connection_id; }
    /** The VLSN that the kind names. */
    std::uint64_t vlsn() const noexcept { return get()->vlsn; }
    /** The number that the kind names. */
    std::uint64_t count() const noexcept { return get()->count; }
    /** Where in the log it is stalled, as an LSN. */
    std::uint64_t lsn() const noexcept { return get()->lsn; }
    /** How a stream ended. */
    run_state run() const noexcept { return static_cast<run_state>(get()->run_state); }
    /** What a log that is stalled is waited for. */
    log_state log() const noexcept { return static_cast<log_state>(get()->log_state); }
    /** The error, or what else nxf_event says of it. */
    nxf_status status() const noexcept { return get()->status; }
    /** The name of the replica; empty if the event is about no connection. */
    std::string_view replica_name() const noexcept { return get()->replica_name; }
    /** The address and port of the replica; empty if the event is about no connection. */
    std::string_view peer() const noexcept { return get()->peer; }
    /** Why, in words; empty if there is nothing to say. */
    std::string_view reason() const noexcept { return get()->reason; }
    /** The error, if there is one. */
    std::optional<nxf::error> error() const
    {
        return get()->error ? std::optional<nxf::error>(*get()->error) : std::nullopt;
    }
};

/** nxf_connection: a connection, as it was when the listing was made. Its texts are valid as long as the listing. */
struct connection {
    std::uint64_t connection_id;         /**< Its number, which no other of this server has or had. */
    std::string_view replica_name;       /**< The name of the replica; until it has one, its address. */
    std::string_view peer;               /**< Its address and port. */
    enum service service;                /**< What it is for. */
    std::chrono::milliseconds connected; /**< For how long. */
    std::uint64_t acked_vlsn;            /**< The highest VLSN that it has acknowledged; 0 for none. */
    std::uint64_t restore_files;         /**< How many files a restore sends. */
    std::uint64_t restore_files_done;    /**< How many of them it has read to their end. */
    std::uint64_t restore_bytes;         /**< How many bytes they have. */
    std::uint64_t restore_bytes_done;    /**< How many of them it has read. */
    std::optional<runner_stats> stats;   /**< The figures of a stream. */

    /** As C has it. */
    explicit connection(const nxf_connection &from) noexcept
        : connection_id(from.connection_id), replica_name(from.replica_name), peer(from.peer),
          service(static_cast<enum service>(from.service)),
          connected(static_cast<std::chrono::milliseconds::rep>(from.connected_ms)), acked_vlsn(from.acked_vlsn),
          restore_files(from.restore_files), restore_files_done(from.restore_files_done),
          restore_bytes(from.restore_bytes), restore_bytes_done(from.restore_bytes_done)
    {
        if (from.stats)
            stats.emplace(*from.stats);
    }
};

/** nxf_connection_list: the connections at one moment, in the order in which they came. */
class connection_list : public handle<nxf_connection_list, nxf_connection_list_free> {
public:
    /** Takes over a listing of C; null stands for an empty one. */
    explicit connection_list(nxf_connection_list *owned) : handle(owned)
    {
        const std::size_t count = nxf_connection_list_count(owned);
        listed_.reserve(count);
        for (std::size_t at = 0; at < count; at++)
            listed_.emplace_back(*nxf_connection_list_at(owned, at));
    }

    /** How many. */
    std::size_t size() const noexcept { return listed_.size(); }
    /** Whether there is none. */
    bool empty() const noexcept { return listed_.empty(); }
    /** The one at that place, which must be there. */
    const connection &operator[](std::size_t at) const noexcept { return listed_[at]; }
    /** The first one. */
    std::vector<connection>::const_iterator begin() const noexcept { return listed_.begin(); }
    /** Behind the last one. */
    std::vector<connection>::const_iterator end() const noexcept { return listed_.end(); }

private:
    std::vector<connection> listed_;
};

/**
 * nxf_server: feeds any number of replicas from one log. Any number of threads may use it. Its destructor ends it and
 * waits for that; inside a callback of this server it is std::terminate(), as for a runner.
 */
class server : public handle<nxf_server, detail::free_server> {
public:
    /** nxf_server_new(): over a log, which need not live as long. Reads the options server.*, channel.*, runner.*. */
    explicit server(const log &over, const options &options = options::defaults()) : handle(make(over, options)) {}
    /** Takes over a handle of C. */
    explicit server(nxf_server *owned) noexcept : handle(owned) {}

    /**
     * nxf_server_set_identify_callback(): has function(const nxf::peer &) say the name of whoever has connected, as a
     * std::optional<std::string> or what becomes one; none refuses it, and so does an exception, and a name of more
     * than 255 bytes. Before the server begins only. Returns this server.
     */
    template <class Function>
    server &on_identify(Function function)
    {
        static_assert(std::is_invocable_r_v<std::optional<std::string>, Function &, const peer &>,
                      "an identify callback takes (const nxf::peer &), and returns a std::optional<std::string>");
        auto owned = std::make_unique<Function>(std::move(function));
        detail::call(nxf_server_set_identify_callback, get(), &server::identify<Function>,
                     static_cast<void *>(owned.get()), &detail::drop<Function>);
        static_cast<void>(owned.release());
        return *this;
    }
    /**
     * nxf_server_set_event_callback(): has every event handed to function(const nxf::event &), on a thread of the
     * server's. Before the server begins only. An exception that leaves it is std::terminate(). Returns this server.
     */
    template <class Function>
    server &on_event(Function function)
    {
        static_assert(std::is_invocable_v<Function &, const event &>, "an event callback takes (const nxf::event &)");
        auto owned = std::make_unique<Function>(std::move(function));
        detail::call(nxf_server_set_event_callback, get(), &server::happened<Function>,
                     static_cast<void *>(owned.get()), &detail::drop<Function>);
        static_cast<void>(owned.release());
        return *this;
    }
    /** nxf_server_answer_elections(): read the warning that is there. Returns this server. */
    server &answer_elections(std::string_view master_name)
    {
        detail::call(nxf_server_answer_elections, get(), detail::c_string(master_name, "master_name").get());
        return *this;
    }

    /** nxf_server_listen(): at host and port; 0 for any. Returns the port that it is. */
    std::uint16_t listen(std::string_view host = "127.0.0.1", std::uint16_t port = 0) const
    {
        std::uint16_t bound = 0;
        detail::call(nxf_server_listen, get(), detail::c_string(host, "host").get(), port, &bound);
        return bound;
    }
    /** nxf_server_adopt(): a connected stream socket, the server's on true. False: there is no room for it. */
    [[nodiscard]] bool adopt(int fd) const { return detail::call(nxf_server_adopt, get(), fd) == NXF_OK; }
    /** nxf_server_dial(): a replica that listens, again and again. */
    void dial(std::string_view host, std::uint16_t port, std::string_view replica_name, std::uint64_t start_vlsn) const
    {
        detail::call(nxf_server_dial, get(), detail::c_string(host, "host").get(), port,
                     detail::c_string(replica_name, "replica_name").get(), start_vlsn);
    }
    /** nxf_server_disconnect(). False: no replica of that name is fed or dialled. */
    bool disconnect(std::string_view replica_name) const
    {
        return detail::call(nxf_server_disconnect, get(), detail::c_string(replica_name, "replica_name").get()) ==
               NXF_OK;
    }

    /**
     * nxf_server_next_event(). Empty: the server has ended, and all were taken. An event that holds none: none came in
     * time. So this takes them all: while (auto event = server.next_event()) ...
     */
    [[nodiscard]] std::optional<event> next_event(timeout limit = forever) const
    {
        nxf_event *taken = nullptr;
        if (detail::call(nxf_server_next_event, get(), limit.milliseconds(), &taken) == NXF_CLOSED)
            return std::nullopt;
        return event(taken);
    }
    /** nxf_server_event_fd(): readable while events wait, or the server has ended. The server's own. */
    int event_fd() const
    {
        int fd = -1;
        detail::call(nxf_server_event_fd, get(), &fd);
        return fd;
    }
    /** nxf_server_connections(). */
    connection_list connections() const
    {
        nxf_connection_list *list = nullptr;
        detail::call(nxf_server_connections, get(), &list);
        return connection_list(list);
    }
    /**
     * nxf_server_stop(): ends it, and waits for that. True: it has ended, and no callback runs any more. False: it is
     * still ending. With 0 it only begins it, which is allowed inside a callback.
     */
    bool stop(timeout limit = forever) const
    {
        return detail::call(nxf_server_stop, get(), limit.milliseconds()) == NXF_OK;
    }
    /**
     * nxf_server_free(): what the destructor does, except that it throws an error with NXF_E_INSIDE_CALLBACK, and keeps
     * the server, inside one of its callbacks.
     */
    void reset()
    {
        detail::check("nxf_server_free", nxf_server_free(get()));
        static_cast<void>(release());
    }

private:
    static nxf_server *make(const log &over, const options &options)
    {
        nxf_server *made = nullptr;
        detail::call(nxf_server_new, over.get(), options.get(), &made);
        return made;
    }

    template <class Function>
    static nxf_status identify(void *context, const nxf_peer *who, char *name, std::size_t capacity) noexcept
    {
        try {
            const std::optional<std::string> found = (*static_cast<Function *>(context))(peer(*who));
            if (!found)
                return NXF_CLOSED;
            if (found->size() >= capacity || found->find('\0') != std::string::npos)
                return NXF_E_INVALID_ARGUMENT;
            found->copy(name, found->size());
            name[found->size()] = '\0';
            return NXF_OK;
        } catch (...) {
            return NXF_E_CALLBACK;
        }
    }

    template <class Function>
    static void happened(void *context, const nxf_event *told) noexcept
    {
        // Lent: it is the library's, and nothing changes it.
        event lent(const_cast<nxf_event *>(told));
        (*static_cast<Function *>(context))(static_cast<const event &>(lent));
        static_cast<void>(lent.release());
    }
};

// --- Trackers --------------------------------------------------------------------------------------------------------

/** NXF_FEEDER_...: the state of a tracker. */
enum class feeder_state : std::uint32_t {
    idle = NXF_FEEDER_IDLE,               /**< NXF_FEEDER_IDLE */
    handshaking = NXF_FEEDER_HANDSHAKING, /**< NXF_FEEDER_HANDSHAKING */
    streaming = NXF_FEEDER_STREAMING,     /**< NXF_FEEDER_STREAMING */
    shutdown = NXF_FEEDER_SHUTDOWN        /**< NXF_FEEDER_SHUTDOWN */
};

/** nxf_feeder: a tracker, what is known of a replica, for hosts that move the bytes themselves. Any thread. */
class feeder : public handle<nxf_feeder, nxf_feeder_free> {
public:
    /** nxf_feeder_new(). Reads the options feeder.*. */
    explicit feeder(std::string_view replica_name, const options &options = options::defaults())
        : handle(make(replica_name, options))
    {
    }
    /** Takes over a handle of C. */
    explicit feeder(nxf_feeder *owned) noexcept : handle(owned) {}

    /** nxf_feeder_state(). */
    feeder_state state() const noexcept { return static_cast<feeder_state>(nxf_feeder_state(get())); }
    /** nxf_feeder_set_state(): any from any. */
    void set_state(feeder_state state) const
    {
        detail::call(::nxf_feeder_set_state, get(), static_cast<std::uint32_t>(state));
    }
    /** nxf_feeder_current_vlsn(): the next VLSN to send. */
    std::uint64_t current_vlsn() const noexcept { return nxf_feeder_current_vlsn(get()); }
    /** nxf_feeder_acked_vlsn(): the highest VLSN acknowledged. */
    std::uint64_t acked_vlsn() const noexcept { return nxf_feeder_acked_vlsn(get()); }
    /** nxf_feeder_lag(): how far the replica is behind. */
    std::uint64_t lag() const noexcept { return nxf_feeder_lag(get()); }
    /** nxf_feeder_queue_entry(). False, and nothing queued: the queue has no room. */
    [[nodiscard]] bool queue_entry(std::uint64_t vlsn, std::uint8_t entry_type, bytes data) const
    {
        return detail::call(nxf_feeder_queue_entry, get(), vlsn, entry_type, data.data(), data.size()) == NXF_OK;
    }
    /**
     * nxf_feeder_drain(): takes all messages that are queued now out of the queue, the oldest first, and hands each
     * to function(bytes message), on this thread; returns their number. When the function throws, it is not called
     * any more, what it was not given is lost, as C cannot put it back, and the exception goes on to the caller.
     */
    template <class Function>
    std::size_t drain(Function &&function) const
    {
        static_assert(std::is_invocable_v<Function &, bytes>, "a drain callback takes (nxf::bytes message)");
        drain_context<std::remove_reference_t<Function>> context{function, nullptr};
        std::size_t count = 0;
        detail::call(nxf_feeder_drain, get(), &feeder::drained<std::remove_reference_t<Function>>,
                     static_cast<void *>(&context), &count);
        if (context.thrown)
            std::rethrow_exception(context.thrown);
        return count;
    }
    /** nxf_feeder_record_ack(). */
    void record_ack(std::uint64_t vlsn) const
    {
        detail::check("nxf_feeder_record_ack", nxf_feeder_record_ack(get(), vlsn));
    }
    /** nxf_feeder_touch(): activity of another kind. */
    void touch() const { detail::check("nxf_feeder_touch", nxf_feeder_touch(get())); }
    /**
     * nxf_feeder_is_timed_out(): whether more than that time has passed since the last activity; never, if forever.
     */
    bool is_timed_out(timeout limit) const noexcept
    {
        return !limit.is_forever() && nxf_feeder_is_timed_out(get(), limit.milliseconds());
    }
    /** nxf_feeder_debug_text(): for people. */
    std::string debug_text() const { return text(nxf_feeder_debug_text); }
    /** nxf_feeder_replica_name(). */
    std::string replica_name() const { return text(nxf_feeder_replica_name); }

private:
    template <class Function>
    struct drain_context {
        Function &function;
        std::exception_ptr thrown;
    };

    static nxf_feeder *make(std::string_view replica_name, const options &options)
    {
        nxf_feeder *made = nullptr;
        detail::call(nxf_feeder_new, detail::c_string(replica_name, "replica_name").get(), options.get(), &made);
        return made;
    }

    template <class Function>
    static void drained(void *at, const std::uint8_t *message, std::size_t len) noexcept
    {
        auto &self = *static_cast<drain_context<Function> *>(at);
        if (self.thrown)
            return;
        try {
            self.function(bytes(message, len));
        } catch (...) {
            self.thrown = std::current_exception();
        }
    }

    std::string text(nxf_status (*write)(const nxf_feeder *, char *, std::size_t, std::size_t *, nxf_error **)) const
    {
        return detail::text([&](char *buf, std::size_t capacity, std::size_t *len, nxf_error **err) {
            return write(get(), buf, capacity, len, err);
        });
    }
};

// --- The bytes of the protocol ---------------------------------------------------------------------------------------

/** The length of the frame of an entry. */
inline std::size_t frame_len(const entry &of) noexcept
{
    return NXF_FRAME_HEADER_LEN + of.payload.size();
}

/**
 * nxf_frame_encode(): writes the frame of an entry to into, which has room for frame_len(); returns the part written.
 */
inline buffer frame_encode(const entry &of, buffer into)
{
    const nxf_entry as_c(of);
    std::size_t len = 0;
    detail::call(nxf_frame_encode, &as_c, into.data(), into.size(), &len);
    return into.first(len);
}

/** nxf_frame_decode(): takes a frame apart and checks it. The payload points into the message. */
inline entry frame_decode(bytes message)
{
    nxf_entry found;
    detail::call(nxf_frame_decode, message.data(), message.size(), &found);
    return entry(found);
}

/** nxf_ack_encode(): the acknowledgement of a VLSN. */
inline std::array<std::uint8_t, NXF_ACK_LEN> ack_encode(std::uint64_t vlsn)
{
    std::array<std::uint8_t, NXF_ACK_LEN> message{};
    detail::call(nxf_ack_encode, vlsn, message.data(), message.size());
    return message;
}

/** nxf_ack_decode(): the VLSN of an acknowledgement. */
inline std::uint64_t ack_decode(bytes message)
{
    std::uint64_t vlsn = 0;
    detail::call(nxf_ack_decode, message.data(), message.size(), &vlsn);
    return vlsn;
}

} // namespace nxf

#endif // C++17

#endif
