/* SPDX-License-Identifier: Apache-2.0
 *
 * The second free comes from another thread.
 */
#include "death.h"

#include <pthread.h>

static void *free_again(void *object) {
    free(hide(object));
    return NULL;
}

int main(void) {
    char *object = make(50);
    pthread_t thread;
    announce(object);
    free(object);
    if (pthread_create(&thread, NULL, free_again, object) == 0)
        pthread_join(thread, NULL);
    return 0;
}
