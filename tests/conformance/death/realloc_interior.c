/* SPDX-License-Identifier: Apache-2.0
 *
 * The middle of an object is to grow.
 */
#include "death.h"

int main(void) {
    char *object = make(50) + 16;
    announce(object);
    object = realloc(hide(object), 5000);
    free(hide(object));
    return 0;
}
