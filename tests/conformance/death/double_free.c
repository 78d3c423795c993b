/* SPDX-License-Identifier: Apache-2.0
 *
 * The same object twice in a row.
 */
#include "death.h"

int main(void) {
    char *object = make(50);
    announce(object);
    free(object);
    free(hide(object));
    return 0;
}
