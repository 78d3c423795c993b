/* SPDX-License-Identifier: Apache-2.0
 *
 * The shortest form is found by trying: 17 digits always read back, fewer often do.
 */
#include "view/number.h"

#include <stdio.h>
#include <stdlib.h>

void view_shortest(double value, char ret_text[VIEW_NUMBER_BYTES]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(ret_text, VIEW_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(ret_text, NULL) == value)
            return;
    }
}
