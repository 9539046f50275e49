#include "support/event.h"

#include "support/check.h"

#include <time.h>

void event_init(struct event *event)
{
    pthread_mutex_init(&event->mutex, NULL);
    pthread_cond_init(&event->changed, NULL);
}

void event_destroy(struct event *event)
{
    pthread_cond_destroy(&event->changed);
    pthread_mutex_destroy(&event->mutex);
}

void event_lock(struct event *event)
{
    pthread_mutex_lock(&event->mutex);
}

void event_unlock(struct event *event)
{
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->mutex);
}

bool event_wait(struct event *event, bool (*is_so)(void *context), void *context)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_MS / 1000;
    while (!is_so(context)) {
        if (pthread_cond_timedwait(&event->changed, &event->mutex, &deadline) != 0)
            return is_so(context);
    }
    return true;
}
