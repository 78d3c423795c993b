/* SPDX-License-Identifier: Apache-2.0
 *
 * <gc.h>, the other name of <gc/gc.h>.
 */
#include "gc/gc.h"
