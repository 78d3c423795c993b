/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of the collected heap, whose size malloc is asked for.
 */
#include "death_collected.h"

int main(void) {
    char *object = collected(100);
    if (!object)
        return 3;
    announce(object);
    announce((void *)malloc_usable_size(hide(object)));
    return 0;
}
