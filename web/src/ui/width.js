// SPDX-License-Identifier: Apache-2.0
//
// How wide an element is, in whole pixels; canvases must be told. 0 until it is laid out.
import { useLayoutEffect, useState } from 'preact/hooks';

export function useWidth(ref) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const measure = () => setWidth(Math.floor(ref.current.clientWidth));
    const observer = new ResizeObserver(measure);
    observer.observe(ref.current);
    measure();
    return () => observer.disconnect();
  }, []);
  return width;
}
