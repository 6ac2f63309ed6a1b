#pragma once
// How many cores this process may really use.

namespace lacuna {

// OMP_NUM_THREADS where it is set; else the cores of the affinity mask, cut to the CPU quota of the control group a
// container runs in. At least 1.
int usable_cores();

}  // namespace lacuna
