/* A stand-in for NVIDIA's driver library with two GPUs: one that tells everything, and an old one that tells its name.
   It lets the tests check what we ask and in which units the answers are, not what a GPU would answer. */
#include <string.h>

typedef unsigned int uint;
typedef unsigned long long ull;
enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int gpus[2];
#define ONLY_THE_FIRST(gpu) if ((gpu) != &gpus[0]) return NOT_SUPPORTED

int nvmlInitWithFlags(uint flags) { return OK; }
int nvmlSystemGetDriverVersion(char *text, uint size) { strncpy(text, "470.141.03", size); return OK; }
int nvmlDeviceGetCount_v2(uint *count) { *count = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(uint index, void **gpu) { *gpu = &gpus[index]; return OK; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) {
    *gpu = &gpus[0];
    return strcmp(uuid, "GPU-5f1f2a3b-0000-1111-2222-333344445555") ? NOT_FOUND : OK;
}
int nvmlDeviceGetName(void *gpu, char *text, uint size) {
    strncpy(text, gpu == &gpus[0] ? "NVIDIA GeForce RTX 3060" : "NVIDIA GeForce 210", size);
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *gpu, uint *gpu_and_memory) {
    ONLY_THE_FIRST(gpu); gpu_and_memory[0] = 98; gpu_and_memory[1] = 50; return OK;
}
int nvmlDeviceGetMemoryInfo(void *gpu, ull *total_free_used) {
    ONLY_THE_FIRST(gpu);
    total_free_used[0] = 12845ull << 20; total_free_used[1] = 10130ull << 20; total_free_used[2] = 2715ull << 20;
    return OK;
}
int nvmlDeviceGetPowerUsage(void *gpu, uint *milliwatts) { ONLY_THE_FIRST(gpu); *milliwatts = 126000; return OK; }
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, ull *millijoules) {
    static ull counted = 5000000;
    ONLY_THE_FIRST(gpu); *millijoules = counted += 63000; return OK;
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, uint *celsius) { ONLY_THE_FIRST(gpu); *celsius = 66; return OK; }
