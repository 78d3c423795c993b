/* SPDX-License-Identifier: Apache-2.0
 *
 * The first page of a large object, but not its start.
 */
#include "death.h"

int main(void) {
    char *object = make(1000000) + 16;
    announce(object);
    free(hide(object));
    return 0;
}
