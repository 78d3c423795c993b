/* SPDX-License-Identifier: Apache-2.0
 *
 * The freed object is written into before it is freed again: that is noticed when both go back into
 * the span, here because everything that is cached does.
 */
#include "death.h"

int main(void) {
    char *object = make(50);
    announce(object);
    free(object);
    memset(hide(object), 7, 8);
    free(hide(object));
    malloc_trim(0);
    return 0;
}
