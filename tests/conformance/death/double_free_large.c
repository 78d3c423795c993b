/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of whole pages: they are idle, or the system has them back.
 */
#include "death.h"

int main(void) {
    char *object = make(1000000);
    announce(object);
    free(object);
    free(hide(object));
    return 0;
}
