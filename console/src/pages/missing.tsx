import { place } from "../router";
import { Empty, Page } from "../ui";

/** Missing is shown where no page is. */
export default function Missing() {
  return (
    <Page title="Not found">
      <Empty title={`There is no page ${place.value.path}`}>It may have been a link of another version. <a href="/">Go to the overview</a>.</Empty>
    </Page>
  );
}
