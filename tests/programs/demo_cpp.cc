// SPDX-License-Identifier: Apache-2.0
//
// A small C++ program with memory to ask about: `make demo` shows its templates and inlined frames.
//
// What makes C++ profiles hard to read is shown on purpose: allocations reach operator new through
// layers of inlined library templates, and the interesting frame is the program's own template
// several levels up. Orders are kept (a map of vectors of strings), quotes come and go. Then it
// prints "ready" and waits for SIGTERM, SIGINT or the end of its standard input.
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <unistd.h>
#include <vector>

#define OUTLINED __attribute__((noinline))

namespace shop {

volatile std::sig_atomic_t stopped;

struct Order {
    std::string customer;
    std::vector<double> prices;
};

/* Keeps what it is given, under a key: the allocations are made in the library's templates. */
template <typename Key, typename Value> class Store {
  public:
    OUTLINED Value &add(const Key &key, Value value) {
        rows_[key].push_back(std::make_unique<Value>(std::move(value)));
        return *rows_[key].back();
    }
    size_t size() const {
        return rows_.size();
    }

  private:
    std::map<Key, std::vector<std::unique_ptr<Value>>> rows_;
};

/* Small enough to be inlined; a profile names it as a frame of its own. */
inline std::string customer_name(unsigned number) {
    return "customer number " + std::to_string(number) + " of the shop";
}

template <unsigned Items> OUTLINED Order make_order(unsigned number) {
    Order order{customer_name(number), {}};
    for (unsigned i = 0; i < Items; i++)
        order.prices.push_back(number * 0.5 + i);
    return order;
}

OUTLINED void fill(Store<unsigned, Order> &store) {
    for (unsigned i = 0; i < 30000; i++) {
        store.add(i % 5000, make_order<40>(i));
        store.add(i % 700, make_order<3>(i));
    }
}

template <typename Number> OUTLINED Number quote(unsigned number) {
    std::vector<Number> steps(200 + number % 50, Number(number));
    Number sum = 0;
    for (Number step : steps)
        sum += step;
    return sum;
}

OUTLINED double quote_all() {
    double sum = 0;
    for (unsigned i = 0; i < 100000; i++)
        sum += quote<double>(i) + quote<float>(i);
    return sum;
}

void wait_for_end() {
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    char byte;
    while (!stopped && poll(&input, 1, 1000) >= 0)
        if (input.revents && read(STDIN_FILENO, &byte, 1) <= 0)
            return;
}

} // namespace shop

int main() {
    struct sigaction action = {};
    action.sa_handler = [](int) { shop::stopped = 1; };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    shop::Store<unsigned, shop::Order> store;
    shop::fill(store);
    double sum = shop::quote_all();
    std::puts("ready");
    std::fflush(stdout);
    shop::wait_for_end();
    std::fprintf(stderr, "%zu, %.0f\n", store.size(), sum);
    return 0;
}
