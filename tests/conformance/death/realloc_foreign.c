/* SPDX-License-Identifier: Apache-2.0
 *
 * Somebody else's memory is to grow.
 */
#include "death.h"

int main(void) {
    static char object[64];
    announce(object);
    free(hide(realloc(hide(object), 5000)));
    return 0;
}
