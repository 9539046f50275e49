/* The smallest host: whatever finds the package can build and run this. */
#include <noxu_feeder.h>
#include <stdio.h>

int main(void)
{
    printf("noxu-feeder %s\n", nxf_version());
    return nxf_abi_version() > 0 ? 0 : 1;
}
