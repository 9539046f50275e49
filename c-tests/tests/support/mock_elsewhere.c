#include "support/mock_elsewhere.h"

uint64_t last_vlsn_as_seen_elsewhere(nxft_replica *replica)
{
    return nxft_replica_last_vlsn(replica);
}
