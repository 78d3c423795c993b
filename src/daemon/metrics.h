/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's own families of /metrics.
 */
#ifndef MAL_DAEMON_METRICS_H
#define MAL_DAEMON_METRICS_H

#include "daemon/counters.h"
#include "daemon/keeper.h"
#include "daemon/table.h"
#include "view/buffer.h"

struct daemon_metrics {
    struct table *table;
    struct keeper *keeper;
    const struct daemon_counters *counters;
};

/* For http_options.more_metrics; `context` is a struct daemon_metrics. Any thread. */
void daemon_metrics_put(void *context, struct view_buffer *out);

#endif
