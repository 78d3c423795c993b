/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory at all.
 */
#include "death.h"

int main(void) {
    char *object = hide((void *)(size_t)0x123456789abcull);
    announce(object);
    free(hide(object));
    return 0;
}
