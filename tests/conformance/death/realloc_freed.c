/* SPDX-License-Identifier: Apache-2.0
 *
 * An object that was freed is to grow.
 */
#include "death.h"

int main(void) {
    char *object = make(50);
    announce(object);
    free(object);
    object = realloc(hide(object), 5000);
    free(hide(object));
    return 0;
}
