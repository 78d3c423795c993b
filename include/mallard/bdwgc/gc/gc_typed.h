/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs include it beside <gc/gc.h>, which has it all.
 */
#include "gc.h"
