// The C header in a C++ program: it needs nothing before it, can be included twice, and its functions have C linkage.
#include <noxu_feeder.h>
#include <noxu_feeder.h>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>
#include <type_traits>

static_assert(std::is_same<nxf_status, std::int32_t>::value, "a status is an int32_t");

TEST_CASE("a C++ program calls the library")
{
    const std::string version = nxf_version();
    CHECK(version.rfind(std::to_string(NXF_VERSION_MAJOR) + "." + std::to_string(NXF_VERSION_MINOR), 0) == 0);
}
