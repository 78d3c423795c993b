// SPDX-License-Identifier: Apache-2.0
//
// A component that is drawn again only when `same(before, after)` says that its properties differ.
import { Component } from 'preact';

export function memo(Body, same) {
  return class extends Component {
    shouldComponentUpdate(after) {
      return !same(this.props, after);
    }

    render(props) {
      return <Body {...props} />;
    }
  };
}
