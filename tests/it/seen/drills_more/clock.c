// A wrong clock for one process: the time of day is off by CLOCK_AHEAD_SECONDS. Other clocks stay right.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) *(void **)(&real) = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    const char *ahead = getenv("CLOCK_AHEAD_SECONDS");
    if (clock == CLOCK_REALTIME && ahead) now->tv_sec += atol(ahead);
    return done;
}
