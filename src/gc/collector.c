/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the table of gc/collector.h is kept.
 *
 * SYNCHRONIZATION: written once with release while the collector comes up, read with acquire.
 */
#include "gc/collector.h"

#include "gc/callbacks.h"

const struct mal_gc_collector *mal_gc_collector;

void mal_gc_collector_install(const struct mal_gc_collector *collector) {
    mal_store_release(&mal_gc_collector, collector);
    mal_gc_callbacks_wake();
}
