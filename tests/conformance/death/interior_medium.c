/* SPDX-License-Identifier: Apache-2.0
 *
 * A later page of an object that owns its span.
 */
#include "death.h"

int main(void) {
    char *object = make(100000) + 8192;
    announce(object);
    free(hide(object));
    return 0;
}
