/* SPDX-License-Identifier: Apache-2.0
 *
 * The shortest form is found by trying: 17 digits always read back, fewer often do.
 */
#include "view/number.h"

#include <stdio.h>
#include <stdlib.h>

int64_t view_sum(int64_t a, int64_t b) {
    int64_t result;
    if (__builtin_add_overflow(a, b, &result))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return result;
}

void view_shortest(double value, char ret_text[VIEW_NUMBER_BYTES]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(ret_text, VIEW_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(ret_text, NULL) == value)
            return;
    }
}
