/* A mutex and a condition, to wait for another thread. */
#ifndef NXF_TEST_EVENT_H
#define NXF_TEST_EVENT_H

#include <pthread.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct event {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

void event_init(struct event *);
void event_destroy(struct event *);
void event_lock(struct event *);
/* Unlocks, and wakes those who wait. */
void event_unlock(struct event *);
/* Locked, before and after: waits until is_so(context), and says whether it came to be in time. */
bool event_wait(struct event *, bool (*is_so)(void *context), void *context);

#ifdef __cplusplus
}
#endif

#endif
