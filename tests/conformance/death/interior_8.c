/* SPDX-License-Identifier: Apache-2.0
 *
 * Eight bytes into a small object: not even a place where one could start.
 */
#include "death.h"

int main(void) {
    char *object = make(50) + 8;
    announce(object);
    free(hide(object));
    return 0;
}
