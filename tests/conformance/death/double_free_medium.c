/* SPDX-License-Identifier: Apache-2.0
 *
 * An object that owns its span but passes through the caches.
 */
#include "death.h"

int main(void) {
    char *object = make(100000);
    announce(object);
    free(object);
    free(hide(object));
    return 0;
}
