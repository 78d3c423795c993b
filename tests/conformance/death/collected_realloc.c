/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of the collected heap, given to realloc.
 */
#include "death_collected.h"

int main(void) {
    char *object = collected(100);
    if (!object)
        return 3;
    announce(object);
    announce(realloc(hide(object), 200));
    return 0;
}
