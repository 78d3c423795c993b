/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the program itself.
 */
#include "death.h"

int main(void) {
    static char object[64];
    announce(object);
    free(hide(object));
    return 0;
}
