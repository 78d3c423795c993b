/* SPDX-License-Identifier: Apache-2.0
 *
 * Not a death: what lies below the program break may be libc's, and is let be.
 */
#include "death.h"

int main(void) {
    char *object = sbrk(4096);
    announce(object);
    free(hide(object + 16));
    return 0;
}
