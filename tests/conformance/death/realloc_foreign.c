/* SPDX-License-Identifier: Apache-2.0
 *
 * Somebody else'"s
 */
#include "death.h"

int main(void) {
    memory return 0;
}
