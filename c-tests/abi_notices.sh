#!/usr/bin/env bash
# abi_notices.sh SCRATCH HEADER: abi.sh passes compatible changes, and no others. Each line below changes the header in
# one way.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$1 header=$2
rm -rf "$scratch"
mkdir -p "$scratch/dumps"
status=0
"$here/abi.sh" --update "$header" "$scratch/dumps" "$scratch/before" || status=$?
[ "$status" = 0 ] || exit "$status"

failed=0
count=0
changed() { # passes|grows|fails WHAT SED-SCRIPT
    local result=fails
    count=$((count + 1))
    mkdir -p "$scratch/$count"
    sed -E "$3" "$header" >"$scratch/$count.h"
    if [ "$1" != passes ] && cmp -s "$header" "$scratch/$count.h"; then
        echo "$2: changes nothing, this test is stale"
        failed=1
        return
    fi
    if "$here/abi.sh" "$scratch/$count.h" "$scratch/dumps" "$scratch/$count" >"$scratch/$count.log" 2>&1; then
        result=passes
        ! grep -q 'has grown' "$scratch/$count.log" || result=grows
    fi
    if [ "$result" = "$1" ]; then
        echo "$2: $result"
    else
        cat "$scratch/$count.log"
        echo "$2: $result, and not $1"
        failed=1
    fi
}

changed passes 'nothing' ''
changed grows 'a new function' 's/^(uint32_t nxf_abi_version\(void\);)/\1\nvoid nxf_brand_new(int x);/'
changed grows 'a new constant' 's/^(#define NXF_OK 0)/\1\n#define NXF_BRAND_NEW 77/'
changed grows 'a field at the end of a struct with its size' 's/^(\} nxf_runner_stats_t;)/uint64_t brand_new; \1/'
changed grows 'a callback at the end of a table with its size' 's/^(\} nxf_source_vtable;)/void (*brand_new)(void *); \1/'
changed fails 'a function less' '/^void nxf_log_free\(/d'
changed fails 'another type of a parameter' 's/^(nxf_status nxf_log_set_send_limit\(.*)uint64_t lsn/\1uint32_t lsn/'
changed fails 'one parameter more' 's/^(nxf_status nxf_log_notify\()/\1int brand_new, /'
changed fails 'another result' 's/^uint32_t (nxf_abi_version)/uint64_t \1/'
changed fails 'a field in the middle of a struct with its size' 's/^( +uint64_t acked_vlsn;)/uint64_t brand_new; \1/'
changed fails 'a field less' '/^ +uint64_t acked_vlsn;/d'
changed fails 'two fields in another order' 's/^ +uint32_t run_state;/uint32_t log_state_;/; s/^ +uint32_t log_state;/uint32_t run_state;/; s/log_state_;/log_state;/'
changed fails 'another type of a field, and one at the end' \
    's/^( +)uint64_t (acked_vlsn;)/\1double \2/; s/^(\} nxf_runner_stats_t;)/uint64_t brand_new; \1/'
changed fails 'a field at the end of a struct without its size' 's/^(\} nxf_entry;)/uint64_t brand_new; \1/'
changed fails 'a callback with another parameter' 's/^(typedef void \(\*nxf_ack_callback\)\(.*)uint64_t vlsn/\1uint32_t vlsn/'
changed fails 'a callback of a table with another parameter' 's/(\(\*next\)\(void \*context, )uint64_t/\1uint32_t/'
changed fails 'another width of statuses' 's/^typedef int32_t nxf_status;/typedef int64_t nxf_status;/'
changed fails 'another value of a constant' 's/^#define NXF_E_FORKED .*/#define NXF_E_FORKED (-99)/'
changed fails 'another value of a wide constant' 's/^#define NXF_LSN_FIRST .*/#define NXF_LSN_FIRST 0xfffffffeffffffffu/'
changed fails 'a constant less' '/^#define NXF_E_FORKED /d'
changed fails 'another SONAME, and nothing to compare with' 's/^#define NXF_VERSION_MINOR .*/#define NXF_VERSION_MINOR 99/'
exit "$failed"
