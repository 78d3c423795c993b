/* SPDX-License-Identifier: Apache-2.0
 *
 * A million other operations lie between the two frees.
 */
#include "death.h"

int main(void) {
    char *object = make(50);
    announce(object);
    free(object);
    for (size_t i = 0; i < 1000000; i++) {
        void *other = malloc(100 + i % 3000);
        free(hide(other));
    }
    free(hide(object));
    return 0;
}
