/* SPDX-License-Identifier: Apache-2.0
 *
 * A misaligned pointer.
 */
#include "death.h"

int main(void) {
    char *object = make(50) + 1;
    announce(object);
    free(hide(object));
    return 0;
}
