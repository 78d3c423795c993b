/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of the collected heap, given to free.
 */
#include "death_collected.h"

int main(void) {
    char *object = collected(100);
    if (!object)
        return 3;
    announce(object);
    free(hide(object));
    return 0;
}
