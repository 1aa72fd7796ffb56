/* fiber.h - fibers: functions with stacks of their own that give way to each other when they say so. */
#ifndef SIMT_FIBER_H
#define SIMT_FIBER_H

#include <functional>

namespace simt {

struct Fiber;

/* A fiber, perhaps used before, that will call `body` when it is first entered. `body` stays the caller's. */
Fiber *fiber_take(const std::function<void()> *body);
/* Back for the next fiber_take; its body has returned. */
void fiber_give(Fiber *fiber);
/* From the scheduler into a fiber, until it leaves; true when its body has returned. */
bool fiber_enter(Fiber *fiber);
/* From the fiber that runs to where it was entered. */
void fiber_leave();

} // namespace simt

#endif
