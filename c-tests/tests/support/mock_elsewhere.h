/* The mock replica in another source file of the same program. */
#ifndef NXF_TEST_MOCK_ELSEWHERE_H
#define NXF_TEST_MOCK_ELSEWHERE_H

#include <noxu_feeder_test.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t last_vlsn_as_seen_elsewhere(nxft_replica *replica);

#ifdef __cplusplus
}
#endif

#endif
