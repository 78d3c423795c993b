/* SPDX-License-Identifier: Apache-2.0
 *
 * The state behind os/critical.h. Until a collector comes up nobody is ever stopped, so parking is
 * never asked for.
 *
 * SYNCHRONIZATION. `mal_critical` belongs to its thread, whose signal handlers see it too. The
 * function is set once, before a collector first stops anybody.
 */
#include "os/critical.h"

static void nobody_stops(void) {}

MAL_THREAD struct mal_critical mal_critical;
void (*mal_critical_park)(void) = nobody_stops;
