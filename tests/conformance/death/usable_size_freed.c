/* SPDX-License-Identifier: Apache-2.0
 *
 * The size of an object that was freed.
 */
#include "death.h"

int main(void) {
    char *object = make(50);
    announce(object);
    free(object);
    if (malloc_usable_size(hide(object)) == 1)
        return 1;
    return 0;
}
