/* Mistakes of a host's that the sanitizer has to see, where host and library meet: one each, named by the argument. */
#include <noxu_feeder.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The library is told of one byte more than there is, and writes it. */
static void overflow(void)
{
    const nxf_entry entry = {1, 0, NULL, 0, 13};
    uint8_t *const buf = malloc(NXF_FRAME_HEADER_LEN - 1);
    size_t len = 0;

    nxf_frame_encode(&entry, buf, NXF_FRAME_HEADER_LEN, &len, NULL);
    free(buf);
}

/* An error that nobody frees. */
static void leak(void)
{
    nxf_error *err = NULL;

    nxf_options_set(NULL, "key", "value", &err);
    err = NULL;
}

static void *encode(void *buf)
{
    nxf_ack_encode(1, buf, NXF_ACK_LEN, NULL);
    return NULL;
}

/* The library writes one variable on two threads, without an order. */
static void race(void)
{
    uint8_t buf[NXF_ACK_LEN];
    pthread_t thread;

    if (pthread_create(&thread, NULL, encode, buf) == 0) {
        encode(buf);
        pthread_join(thread, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "overflow") == 0)
        overflow();
    if (strcmp(argv[1], "leak") == 0)
        leak();
    if (strcmp(argv[1], "race") == 0)
        race();
    return 0;
}
