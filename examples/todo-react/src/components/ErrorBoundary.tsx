import { Component } from 'react';
import type { ReactNode } from 'react';

interface ErrorBoundaryProps {
  readonly children: ReactNode;
}

interface State {
  readonly failure: { readonly error: unknown } | null;
}

/**
 * Shown in place of whatever cannot be drawn: a fault in a component would otherwise leave an empty page. What is stored and
 * what is still to be sent is not touched by it.
 */
export class ErrorBoundary extends Component<ErrorBoundaryProps, State> {
  override readonly state: State = { failure: null };

  static getDerivedStateFromError(error: unknown): State {
    return { failure: { error } };
  }

  override render(): ReactNode {
    const { failure } = this.state;
    if (failure === null) return this.props.children;
    const { error } = failure;
    return (
      <main className="problem" role="alert" data-code="broken">
        <h1>Something in this page is broken</h1>
        <p>Your list is safe: it is stored, and goes on being synced when the page works again.</p>
        <p className="actions">
          <button type="button" className="primary" onClick={() => this.setState({ failure: null })}>
            Try again
          </button>
          <button type="button" onClick={() => location.reload()}>
            Reload the page
          </button>
        </p>
        <details>
          <summary>Details</summary>
          <p>{error instanceof Error ? error.message : String(error)}</p>
        </details>
      </main>
    );
  }
}
