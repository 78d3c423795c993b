/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic that simple checks miss: another free lies between the two.
 */
#include "death.h"

int main(void) {
    char *a = make(50);
    char *b = make(50);
    announce(a);
    free(a);
    free(b);
    free(hide(a));
    return 0;
}
