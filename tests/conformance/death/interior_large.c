/* SPDX-License-Identifier: Apache-2.0
 *
 * A later page of a large object.
 */
#include "death.h"

int main(void) {
    char *object = make(1000000) + 409600;
    announce(object);
    free(hide(object));
    return 0;
}
