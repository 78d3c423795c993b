/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen bytes into a small object: aligned like a start.
 */
#include "death.h"

int main(void) {
    char *object = make(50) + 16;
    announce(object);
    free(hide(object));
    return 0;
}
