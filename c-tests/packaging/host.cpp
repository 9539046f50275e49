// The same in C++.
#include <noxu_feeder.h>
#include <iostream>

int main()
{
    std::cout << "noxu-feeder " << nxf_version() << "\n";
    return nxf_abi_version() > 0 ? 0 : 1;
}
