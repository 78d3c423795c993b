/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the stack.
 */
#include "death.h"

int main(void) {
    char object[64];
    announce(object);
    free(hide(object));
    return 0;
}
